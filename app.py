"""diffusion-webui: reads the command line, opens the port, builds everything and serves it.

The order is what makes the start feel quick. The port answers before anything heavy is imported; the engine's process loads torch while
this one loads gradio; the page is served as soon as it exists, whether or not the engine is ready. This module stays light at import,
because the engine's process imports it again.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from modules.domain.errors import CannotStart, StorageError

if TYPE_CHECKING:
    import socket
    import ssl

    from modules.server.instance import Instance
    from modules.server.splash import Splash
    from modules.server.stopping import Stopping
    from modules.settings.flags import Flags
    from modules.settings.paths import Paths

log = logging.getLogger("webui")


def main() -> int:
    """Run until told to stop; the exit code is 2 when the program could not start."""
    from modules.server import instance
    from modules.server.stopping import Stopping
    from modules.settings.flags import parse, paths

    flags = parse(sys.argv[1:], os.environ)
    logging.basicConfig(level=flags.loglevel or "INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for note in flags.notes:
        log.info("%s", note)
    stopping = Stopping()
    try:
        with stopping.listening():
            folders = paths(flags)
            held = instance.acquire(folders)
            try:
                return _run(flags, folders, held, stopping)
            finally:
                held.release()
    except KeyboardInterrupt:
        log.info("Stopped before the page was there")
        return 0
    except (CannotStart, StorageError) as error:
        sys.stderr.write(f"diffusion-webui: {error}\n")
        return 2


def _run(flags: Flags, folders: Paths, held: Instance, stopping: Stopping) -> int:
    from modules.server import instance
    from modules.server.splash import Splash, tls_context

    tls = tls_context(str(flags.tls_certfile), str(flags.tls_keyfile)) if flags.tls_certfile and flags.tls_keyfile else None
    sock = instance.bind(flags)
    addresses = instance.urls(flags, sock)
    held.announce(addresses[0])
    log.info("Starting on %s", addresses[0])
    splash = Splash(sock, tls)
    splash.start()
    try:
        return _build_and_serve(flags, folders, sock, tls, splash, addresses, stopping)
    finally:
        splash.stop()
        sock.close()


def _build_and_serve(
    flags: Flags,
    folders: Paths,
    sock: socket.socket,
    tls: ssl.SSLContext | None,
    splash: Splash,
    addresses: tuple[str, ...],
    stopping: Stopping,
) -> int:
    from modules import bootstrap

    stopping.check()
    splash.say("Starting the engine …")
    context, services = bootstrap.build(flags, folders)
    try:
        services.start()
        splash.say("Loading the page …")
        if not flags.nowebui:
            from modules.gradio_ui.quick_import import import_gradio

            import_gradio(folders.temporary)
        stopping.check()
        from modules.server.guard import Guard, guard_config
        from modules.server.login import accounts, login_for
        from modules.server.serve import open_browser, serve, startup_lines

        if not flags.loglevel:
            logging.getLogger().setLevel(context.settings.current.system.log_level)
        who = accounts(flags)
        host, port = str(sock.getsockname()[0]), int(sock.getsockname()[1])
        app = bootstrap.web_app(context, flags)
        guarded = Guard(app, guard_config(flags, login_for(who, port)))

        def on_ready() -> None:
            for line in startup_lines(addresses, who):
                log.info("%s", line)
            if flags.autolaunch:
                open_browser(addresses[0])
            if flags.share:
                bootstrap.share_in_background(guarded, app, host, port)

        splash.stop()
        serve(
            guarded,
            sock,
            tls=tls,
            log_level=flags.loglevel or context.settings.current.system.log_level,
            on_ready=on_ready,
            stopping=stopping,
        )
    finally:
        services.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
