"""Server-rendered pages. Knows the other services by their HTTP API alone.

owns: nothing
publishes: nothing
listens to: nothing yet
"""

from admitone.kit.service import Service

service = Service(name="web", prefix="/", has_database=False)
