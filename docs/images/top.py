"""Draws top.svg: `sandscope top` in a real terminal, over a server with 100 busy sandboxes, and prints what it costs.

Needs root, tmux, and the Python environment of the tests (e2b, rich); uses a server that it starts and stops.

usage: top.py SANDSCOPE [N]
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2b import Sandbox
from rich.console import Console
from rich.text import Text

BINARY, N = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
WIDTH, HEIGHT, WATCH_S = 150, 30, 30
# Works in waves, a few of them high, and holds some memory.
LOAD = """exec python3 -c '
import math, time
held = bytearray(b"x") * ({n} % 9 << 22)
height = 1.5 if {n} % 25 == 0 else 0.05 if {n} % 12 == 0 else 0.0003 * (1 + {n} % 7)
while True:
    end = time.process_time() + height * (1 + math.sin(time.time() / (2 + {n} % 5))) / 2
    while time.process_time() < end: pass
    time.sleep(0.5)
'"""
# Rich's own frame, without fonts that would be fetched from elsewhere.
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
 line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(directory):
    command = [BINARY, "serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir", f"{directory}/data"]
    command += ["--max-concurrent-sandboxes", str(N)]
    log = open(f"{directory}/log", "w")
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    for line in server.stdout:
        name, value = line.removeprefix("export ").strip().split("=", 1)
        os.environ[name] = value
        if name == "E2B_API_KEY":
            return server
    raise SystemExit("the server did not start")


def busy(n):
    labels = {"team": ["web", "data", "ci"][n % 3], "n": str(n)}
    sandbox = Sandbox.create("base", metadata=labels, timeout=600)
    sandbox.commands.run(LOAD.format(n=n), background=True, timeout=0)
    return sandbox.sandbox_id


def draw(screen):
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)
    console.print(Text.from_ansi(screen), end="")
    svg = console.export_svg(title="sandscope top", code_format=FRAME, unique_id="top")
    Path(__file__).with_name("top.svg").write_text(svg)


def main():
    tmux = ["tmux", "-L", f"top-{os.getpid()}"]
    with tempfile.TemporaryDirectory(prefix="sandscope-top-") as directory:
        server = serve(directory)
        try:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(busy, range(N)))
            size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
            run = f"COLORTERM=truecolor exec {BINARY} top"
            subprocess.run([*tmux, "new-session", "-d", *size, run], check=True)
            # Sparklines need their seconds.
            time.sleep(20)
            pane = subprocess.run([*tmux, "list-panes", "-F", "#{pane_pid}"], capture_output=True, text=True, check=True)
            pids = {"top": int(pane.stdout), "server": server.pid}
            before = {name: cpu(pid) for name, pid in pids.items()}
            time.sleep(WATCH_S)
            for name, pid in pids.items():
                print(f"{name}: {100 * (cpu(pid) - before[name]) / WATCH_S:.1f} % of one CPU")
            screen = subprocess.run([*tmux, "capture-pane", "-e", "-p"], capture_output=True, text=True, check=True)
            draw(screen.stdout)
            print(f"{len(re.findall('running', screen.stdout))} lines with sandboxes on the screen")
        finally:
            subprocess.run([*tmux, "kill-server"], capture_output=True)
            subprocess.run([BINARY, "sandbox", "kill", "--all"], stdout=subprocess.DEVNULL)
            server.send_signal(signal.SIGTERM)
            server.wait(60)


main()
