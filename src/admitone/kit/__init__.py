"""What every service stands on, read once and then forgotten. It knows none of the services.

event        what an event is; the catalogue of who owns and who hears it
service      what a service is
db           one transaction, which can also say what happened (outbox)
migrations   numbered SQL files, applied once
bus          outbox -> stream (relay), stream -> handlers (consumer, inbox, parked)
problem      a refusal: a class, a status, a sentence
form         one request body, every wrong field named at once
idempotency  the same key, the same answer, one effect
session      the signed cookie
web          a Litestar app out of a service's routes
config       the environment, read once
log          lines that carry the correlation id
clock        the one clock of a service: its database's
testing      rehearsals: a service hears, does, and we look at what it said
"""
