"""Answer over HTTP: the routes of OpenAI's API, guarded by limits, a key and a check of the Host header."""
