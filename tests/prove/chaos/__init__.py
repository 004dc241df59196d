"""Six real processes, a gateway, PostgreSQL and NATS, a crowd that buys and sells, and something that is killed or frozen every
second or two; then every answer that was given is held against what is there.

make chaos CYCLES=24                                                           # a cycle is one fault
PYTHONPATH=tests .venv/bin/python -m chaos --cycles 1000 --results FILE        # in pieces that add up

stage     the processes: begin, kill, freeze, thaw, and whether they answer
torment   which of them fails when and how, and how long it takes to be back
crowd     who buys, sells, pays, cancels, clicks twice and asks again
history   what was asked and what was answered, a line each
ending    what the databases hold when everything is over
judging   what the history and the databases say about each other
report    what is said of a piece, and of all pieces together
"""
