"""Teaching a head from annotated clips: data, splits, embeddings kept on disk, training, evaluation, report."""
