"""What every route of the API needs: the context, the command line, who is asking, and the jobs and pictures that are theirs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from fastapi import HTTPException, Request

from modules.context import AppContext
from modules.domain.jobs import Job
from modules.domain.results import SavedImage
from modules.domain.viewers import viewer_of
from modules.settings.flags import Flags

_REMEMBERED = 2000


class TaskNames:
    """Which job a client's own name (`force_task_id`) belongs to. The newest of each user's names counts; old ones are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[tuple[str, str], str] = OrderedDict()

    def put(self, owner: str, name: str, job_id: str) -> None:
        """Remember that `owner` calls this job `name`."""
        with self._lock:
            self._jobs[owner, name] = job_id
            self._jobs.move_to_end((owner, name))
            if len(self._jobs) > _REMEMBERED:
                self._jobs.popitem(last=False)

    def job_id(self, owner: str, name: str) -> str:
        """The job that `owner` calls `name`; the name itself where it is nobody's, since a job's id names it too."""
        with self._lock:
            return self._jobs.get((owner, name), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Passed to everything that makes routes."""

    context: AppContext
    flags: Flags
    tasks: TaskNames = field(default_factory=TaskNames)

    def job(self, job_id: str, request: Request) -> Job:
        """The caller's job. Raises 404 for one that is not theirs, as for one that never was."""
        job = self.context.queue.get(job_id)
        if job is None or not viewer_of(request.state).sees(job.owner):
            raise HTTPException(404, "There is no such job.")
        return job

    def images(self, job_id: str) -> list[SavedImage]:
        """The pictures of a job in order, its grid first, and behind each what was saved beside it."""
        return sorted(self.context.gallery.for_job(job_id), key=lambda image: (image.index, image.kind != "image", image.kind))

    def image(self, image_id: str, request: Request) -> SavedImage:
        """The caller's picture. Raises 404 as `job` does."""
        image = self.context.gallery.get(image_id, viewer_of(request.state).owners)
        if image is None:
            raise HTTPException(404, "There is no such picture.")
        return image

    def running(self, request: Request) -> Job | None:
        """The caller's job that runs, else the first of theirs that waits; None when they have none."""
        active = self.context.queue.list(viewer_of(request.state).owners, active_only=True, limit=1)
        return active[0] if active else None


def user_of(request: Request) -> str:
    """Whom the guard let in; empty where there is no login."""
    return viewer_of(request.state).name
