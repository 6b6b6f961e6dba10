"""The web page: live predictions in the browser, and teaching new classes by example; its server and protocol."""
