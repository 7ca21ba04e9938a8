"""A page and an HTTP call that recognise a photo with the published run. Needs FastAPI; the command also uvicorn."""
