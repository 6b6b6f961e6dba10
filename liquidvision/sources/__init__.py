"""Where frames come from: files, URLs, cameras and arrays, all with their true times."""
