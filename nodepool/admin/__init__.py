"""What an operator asks and orders: the tables and commands behind the program ``nodepool`` and the web server."""
