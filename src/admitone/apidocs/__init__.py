"""Documents that are made from the code: pages at /docs in every process, docs/asyncapi.json, and parts of docs/events.md.

pages.py      the list of all pages, at /docs, the one about events, and those about the API
render.py     how they become answers        openapi.py   the OpenAPI documents that they show
overview.py   what there is to be said about events: who says what, what it carries, who hears it and does what then
asyncapi.py   that, as an AsyncAPI 3.0 document        lanes.py   that, as a picture
examples/     one real message per event, frozen: a test sees to it that today's code still takes it
"""
