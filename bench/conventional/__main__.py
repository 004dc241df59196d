"""Ticket and order endpoints as a tutorial would write them, to compare Admit One with. From the folder bench/:

    python -m venv VENV && VENV/bin/pip install -r conventional/requirements.txt
    export DATABASE_URL=postgresql://USER:PASSWORD@HOST:PORT/DATABASE NATS_URL=nats://HOST:PORT
    export ADMITONE_PUBLIC_KEYS=KEY        # what `admitone keygen FILE` prints
    VENV/bin/python -m conventional --port 8100

One uvicorn worker. It makes its tables in that database, and a stream named CONVENTIONAL. The other settings are in database.py.
"""

import argparse

import uvicorn

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="conventional")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    options = parser.parse_args()
    app = "conventional.app:app"
    uvicorn.run(app, host=options.host, port=options.port, loop="uvloop", http="httptools", log_level="warning", access_log=False)
