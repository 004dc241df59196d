"""What every service is built on. It knows none of the services.

event        what an event is; the catalogue with the owner and the consumers of each
service      what a service is
testing      rehearsals: a service handles events and commands, and the test reads what it published

data/        clock: the database's clock, which is the service's
             connection: settings of a connection to PostgreSQL
             db: a pool, and transactions that also write the outbox
             migrations: numbered SQL files, each applied once
delivery/    bus: one service's connection to the stream
             relay: publishes the outbox, and repairs the stream
             pull: batches of messages from the stream
             inbox: handles one event once, in one transaction
             consumer: stream -> inbox -> handlers, with retries and dead letters
             feed: an ephemeral consumer, for every process of its own
http/        app: a Litestar app from a service's routes
             asgi: correlation ids, path prefixes, whole answers
             documented: what a route takes and answers, for the OpenAPI documents
             form: reads a request body, and names every wrong field at once
             amount: amounts of money
             paging: lists in pages, by cursors
             idempotency: one effect and one answer per Idempotency-Key
             problem: a refusal as a class with a status and a sentence
             session: the signed session cookie
observe/     log: log lines with the correlation id
             metrics: counters and histograms
             gauges: values that are read at each scrape
             exposition: /metrics, from both
"""
