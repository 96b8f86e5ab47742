"""What do other programs see? A1111's HTTP API and our own, over the same requests and the same queue as the page."""
