"""Every failure that a user can meet, as a type with a sentence that says what to do.

The front ends show `str(error)` as it is, so a message names the thing (file, field, value) and the way out. Anything that is not a
`UserError` is a defect of ours: it is logged with its traceback and shown as such.
"""

from __future__ import annotations


class UserError(Exception):
    """Base of all failures whose message is meant for the person at the page or behind the API."""


class InvalidRequest(UserError):
    """A generation request asks for something that no model could do (a size of 0, 10 000 steps, an unknown sampler)."""


class ModelNotFound(UserError):
    """No model file answers to a name; the message lists what there is, or the candidates of an ambiguous name."""


class ModelLoadError(UserError):
    """A model file is corrupt, truncated, foreign or unreadable. The model that was resident stays in use."""


class OutOfMemory(UserError):
    """The device ran out of memory. The job fails, the engine has freed what it held, the next job works."""


class NotANumber(UserError):
    """The network or the VAE produced NaN, also after the retry in float32; no picture was saved."""


class EngineDied(UserError):
    """The engine process ended while it worked on a job."""


class QueueFull(UserError):
    """The queue holds as many jobs as it accepts."""


class ImageUnreadable(UserError):
    """A picture file is damaged, of a foreign kind, too large or gone."""


class StorageError(UserError):
    """A file or row could not be written; the message says where the picture was put instead."""


class SettingsConflict(UserError):
    """Settings were changed by somebody else since this page read them."""


class CannotStart(UserError):
    """The program can't start: another instance, a taken port, a missing login. The process ends with exit code 2."""
