"""Who may do what over HTTP: users, roles, and what they show (docs/design/access.md).

`may(role, action)` is the whole of the rights; `authenticate` says whose an Authorization field is.
"""

from dicomrelay.access.authenticating import authenticate, challenge, is_asked
from dicomrelay.access.doorkeeper import Doorkeeper
from dicomrelay.access.roles import Action, may
from dicomrelay.access.users import User
from dicomrelay.settings.users import Role

__all__ = ["Action", "Doorkeeper", "Role", "User", "authenticate", "challenge", "is_asked", "may"]
