"""The programme: every scene, in the order of the table."""

import scenes_agents
import scenes_chat
import scenes_errors
import scenes_messages
import scenes_other
import scenes_responses
from stage import SCENES as _REGISTERED
from stage import Scene

_ORDER = (scenes_chat, scenes_errors, scenes_responses, scenes_messages, scenes_other, scenes_agents)

SCENES: list[Scene] = [scene for module in _ORDER for scene in _REGISTERED if scene.play.__module__ == module.__name__]
