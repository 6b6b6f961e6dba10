"""Make and measure the bundled model `actions`: rendered clips, a frozen backbone, a liquid head."""
