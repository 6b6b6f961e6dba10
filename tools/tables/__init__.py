"""Parts of paper_tables: the paper's sets and their splits, the models of about one size, training, the table."""
