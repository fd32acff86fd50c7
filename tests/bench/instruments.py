"""What the benchmarks of the service share: the C instruments made ready, a broker, the service, their CPU time.

The instruments are `load.c` (drives load and times answers) and `echo.c` (a client on libmosquitto that answers each
message with itself: the floor under "a forecaster that does nothing"). They live outside the repository; their folder
is given as `--instruments DIR`. `load.c` knows one topic and one payload: its `pubmsg` is replaced by one that goes
round many topics, as many sensors do, can send arrays or many fields, and does not pad `seq` with zeros (JSON has no
such numbers). It is made to print the 99.9th percentile too. And it slept after every 64 KiB until something came,
whatever its window allowed: at QoS 0, where no PUBACK wakes it, 17 long messages were all that could wait for the
service, and what was measured was the driver. Now it goes on until the window is full.
"""

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Instruments", "Service", "broker", "machine", "median_of", "options", "write_report"]

PLAIN_BROKER = ("max_inflight_messages 65000", "max_queued_messages 0", "set_tcp_nodelay true")
STEP_MS = 1

IDLE = "{c->fd,POLLIN|(c->wo<c->wl?POLLOUT:0),0},{s->fd,POLLIN|(s->wo<s->wl?POLLOUT:0),0}};\n   if(R>0)"
AWAKE = IDLE.replace("c->wo<c->wl?", "c->wo<c->wl||(R<=0&&k<N&&k-s->pub_in<W)?")

PUBMSG = r"""
#include <math.h>
static void pubmsg(C*c,const char*topic,int qos,long seq){static long S=0,A=0,W=0,base=0;
 static u8*p=0;static char*pay=0;
 if(!p){S=atol(getenv("LOAD_SERIES"));A=atol(getenv("LOAD_ARRAY"));W=atol(getenv("LOAD_FIELDS"));
  base=atol(getenv("LOAD_BASE_MS"));p=malloc(65536);pay=malloc(65536);}
 static unsigned long long r=88172645463325252ULL;
 char t[128];int tl=snprintf(t,sizeof t,"%s/%ld",topic,seq%S),pl=0;long turn=seq/S,many=A?A:1;
 if(W)pl=sprintf(pay,"{\"ts\":%.3f",(base+turn*STEP)*1e-3);
 for(long k=0;k<W;k++){r^=r<<13;r^=r>>7;r^=r<<17;
  pl+=sprintf(pay+pl,",\"f%ld\":%.4f",k,20+k+3*sin(turn*0.05+seq%S+k)+(r>>40)*1e-7);}
 if(W)pay[pl++]='}';
 if(A)pay[pl++]='[';
 if(!W)for(long k=0;k<many;k++){r^=r<<13;r^=r>>7;r^=r<<17;double ms=base+(turn*many+k)*STEP;
  double v=20+seq%S+3*sin((turn*many+k)*0.05+seq%S)+(r>>40)*1e-7;
  pl+=A?sprintf(pay+pl,"%s{\"ts\":%.3f,\"value\":%.4f}",k?",":"",ms*1e-3,v)
       :sprintf(pay+pl,"{\"ts\":%.3f,\"value\":%.4f,\"seq\":%ld,\"q\":\"ok\"}",ms*1e-3,v,seq);}
 if(A)pay[pl++]=']';
 int n=0;size_t len=2+tl+(qos?2:0)+pl;p[n++]=0x30|(qos<<1);
 do{u8 b=len&127;len>>=7;p[n++]=b|(len?128:0);}while(len);
 p[n++]=tl>>8;p[n++]=tl&255;memcpy(p+n,t,tl);n+=tl;
 if(qos){mid++;if(!mid)mid=1;p[n++]=mid>>8;p[n++]=mid&255;}
 memcpy(p+n,pay,pl);n+=pl;put(c,p,n);}
"""


class Instruments:
    """The two programs, compiled into a folder.

    Args:
        source: folder with `load.c` and `echo.c`.
        folder: for the programs.
        series: topics that the load goes round.
    """

    def __init__(self, source: Path, folder: Path, series: int) -> None:
        for name in ("load.c", "echo.c"):
            if not (source / name).is_file():
                sys.exit(f"--instruments {source}: there is no {name}; give the folder of the C instruments")
        if shutil.which("gcc") is None:
            sys.exit("gcc is needed to compile the instruments: apt-get install gcc libmosquitto1")
        text = (source / "load.c").read_text()
        text, replaced = re.subn(r"static void pubmsg\(.*?put\(c,p,n\);\}", lambda _: PUBMSG, text, flags=re.DOTALL)
        text, told = re.subn(r'\\"max_ms\\":%\.3f\}', r'\\"p999_ms\\":%.3f,\\"max_ms\\":%.3f}', text)
        text, given = re.subn(r"(n\?rtt\[n\*)99/100(\]\*1e3:-1)", r"\g<1>99/100\2,\g<1>999/1000\2", text)
        text, filled = re.subn(re.escape(IDLE), lambda _: AWAKE, text)
        if (replaced, told, given, filled) != (1, 1, 1, 1):
            sys.exit(f"{source / 'load.c'} is not the load driver that this benchmark knows")
        (folder / "load.c").write_text(text)
        self._load, self._echo = str(folder / "load"), str(folder / "echo")
        compile_c(folder / "load.c", self._load, f"-DSTEP={STEP_MS}", "-lm")
        compile_c(source / "echo.c", self._echo, "-l:libmosquitto.so.1")
        self.series = series
        self._base_ms = 1_700_000_000_000

    def load(
        self,
        port: int,
        into: str,
        out: str,
        messages: int,
        qos: int,
        window: int,
        rate: float = 0,
        array: int = 0,
        fields: int = 0,
    ) -> dict[str, Any]:
        """Send messages with `window` unanswered, wait for each answer; what the driver measured.

        A message holds one reading; or `array` readings of its series, one after the other; or `fields` readings of as
        many series at one time. Readings go on in time from call to call, so that none is late.
        """
        command = [self._load, "echo", *map(str, (port, into, out, messages, qos, window, rate))]
        env = {"LOAD_SERIES": str(self.series), "LOAD_ARRAY": str(array), "LOAD_BASE_MS": str(self._base_ms)}
        env["LOAD_FIELDS"] = str(fields)
        self._base_ms += (messages // self.series + 2) * max(array, 1) * STEP_MS
        done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=300, check=True)
        answer: dict[str, Any] = json.loads(done.stdout)
        if answer["echoed"] < messages:
            sys.exit(f"only {answer['echoed']} of {messages} messages were answered on {out}")
        return answer

    def echo(
        self, port: int, messages: int, qos: int, window: int, rate: float = 0, array: int = 0, fields: int = 0
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same load answered by `echo.c`: what the driver and what the client measured."""
        command = [self._echo, "echo", str(port), "plain/#", "answers/x", str(messages), str(qos), "4"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            try:
                assert client.stdout is not None
                if client.stdout.readline() != "READY\n":
                    sys.exit("echo.c did not come up")
                driven = self.load(port, "plain", "answers/x", messages, qos, window, rate, array, fields)
                return driven, json.loads(client.stdout.readline())
            finally:
                client.kill()


def compile_c(source: Path, program: str, *flags: str) -> None:
    """Compile one file, or end with the compiler's words."""
    done = subprocess.run(["gcc", "-O2", "-o", program, str(source), *flags], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{source.name} does not compile (apt-get install gcc libmosquitto1):\n{done.stderr}")


class Service:
    """`stepahead run` as a process of its own.

    Args:
        folder: for its state and log.
        port: of the broker.
        assignments: settings as `--set` takes them.
    """

    def __init__(self, folder: Path, port: int, assignments: Sequence[str] = ()) -> None:
        folder.mkdir()
        self.log = folder / "run.log"
        url = f"mqtt://127.0.0.1:{port}"
        command = [sys.executable, "-m", "stepahead", "run", "--broker", url, "--subscribe", "sensors/#"]
        for assignment in (f"durability.state_dir={folder}/state", *assignments):
            command += ["--set", assignment]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def until_subscribed(self) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + 60
        while "subscribed" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the service did not come up:\n{self.log.read_text()}")
            time.sleep(0.02)

    @property
    def cpu_s(self) -> float:
        """CPU time of the main process so far, all its threads, without its trainer process."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Stop it in good order."""
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.end()


@contextmanager
def broker(folder: Path, lines: Sequence[str] = PLAIN_BROKER, file: Path | None = None) -> Iterator[int]:
    """A mosquitto on a free port of loopback; from `lines`, or from a settings file that says all but the port."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        sys.exit("mosquitto is needed: apt-get install mosquitto")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    text = "\n".join(lines) if file is None else file.read_text() + f"\npersistence_location {folder}/"
    settings = folder / "mosquitto.conf"
    settings.write_text(f"{text}\nlistener {port} 127.0.0.1\nallow_anonymous true\n")
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(settings)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    sys.exit(f"mosquitto did not come up: {(folder / 'mosquitto.log').read_text()}")
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks of the service have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--instruments", type=Path, required=True, help="folder with load.c and echo.c")
    parser.add_argument("--repeat", type=int, default=3, help="interleaved repetitions")
    parser.add_argument("--set", action="append", default=[], help="a setting of the service, KEY=VALUE")
    return parser


def machine() -> str:
    """What this ran on."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def median_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians by name."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def write_report(path: Path | None, **figures: Any) -> None:
    """The figures as JSON, with the command, the machine and the date."""
    if path is not None:
        head = {
            "command": " ".join(sys.argv),
            "machine": machine(),
            "date": datetime.now(UTC).isoformat("T", "seconds"),
        }
        path.write_text(json.dumps(head | figures, indent=1) + "\n")
