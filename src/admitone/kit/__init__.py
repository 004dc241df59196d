"""What every service stands on, read once and then forgotten. It knows none of the services.

event        what an event is; the catalogue of who owns and who hears it
service      what a service is
db           one transaction, which can also say what happened (outbox)
migrations   numbered SQL files, applied once
connection   one connection to PostgreSQL
bus          one service's connection to the stream
relay        outbox -> stream, and the stream's repair
pulling      what the stream has, a batch at a time
handling     one event in one transaction, once
consumer     stream -> inbox -> handlers, or parked
problem      a refusal: a class, a status, a sentence
form         one request body, every wrong field named at once
paging       a long list, a page at a time
idempotency  the same key, the same answer, one effect
session      the signed cookie
web          a Litestar app out of a service's routes
documented   what a route takes and gives, said next to it
config       the environment, read once
metrics      what is counted as it happens
figures      how a service stands: what waits in its database and on the bus
exposition   /metrics, out of both
log          lines that carry the correlation id
clock        the one clock of a service: its database's
testing      rehearsals: a service hears, does, and we look at what it said
"""
