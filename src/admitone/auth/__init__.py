"""Users, passwords, sessions.

owns: users, their sessions, the key that signs them
publishes: UserCreated
listens to: nothing
"""

from admitone.auth.routes import ROUTES
from admitone.auth.tokens import Signer
from admitone.kit.service import Service

service = Service(name="auth", prefix="/api/users", routes=ROUTES, provides={"signer": lambda settings, _db: Signer.of(settings)})
