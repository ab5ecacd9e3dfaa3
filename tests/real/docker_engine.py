"""A Docker engine of our own on a private socket, and an image made of busybox. Ends the script with 77 where none can be started."""

import contextlib
import os
import signal
import subprocess
import sys
import tarfile

from harness import end_of, spawn, wait_for

# The command of the distribution, which is as old as its engine; others may be in the way.
DOCKER = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
IMAGE = "daybook-test:1"
PROGRAMS = ["sh", "cat", "echo", "awk", "head", "tr", "seq", "sleep", "true", "usleep", "printf", "yes"]


def docker(*arguments, check=True):
    done = subprocess.run([DOCKER, *arguments], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments[:6])}: {done.stderr}")
    return done.stdout.strip()


def run(name, command, *options, **how):
    return docker("run", "--name", name, "--network", "none", *options, IMAGE, "sh", "-c", command, **how)


class Engine:
    def __init__(self, work):
        self.work, self.socket = work, work / "docker.sock"
        os.environ["DOCKER_HOST"] = f"unix://{self.socket}"
        # A process of its own, as on a real machine: it and the containers outlive an engine that is killed.
        self.containerd = spawn(
            ["containerd", "--address", work / "containerd.sock", "--root", work / "containerd", "--state", work / "containerd-state"],
            work / "containerd.log", start_new_session=True)

    @contextlib.contextmanager
    def running(self):
        """The engine with its image; afterwards no container of it runs any more."""
        with cannot():
            self.start()
        docker("import", "-c", "ENV PATH=/bin", image(self.work), IMAGE)
        with cannot():
            run("first", "true", "--rm")
        try:
            yield self
        finally:
            for container in docker("ps", "-q", check=False).split():
                docker("kill", container, check=False)
            self.stop()
            self.containerd.terminate()
            self.containerd.wait(30)

    def start(self):
        # What a killed engine leaves behind keeps the next one from starting.
        for stale in (self.work / "docker.pid", self.socket):
            stale.unlink(missing_ok=True)
        log = self.work / "dockerd.log"
        self.process = spawn(
            ["dockerd", "--containerd", self.work / "containerd.sock", "-H", f"unix://{self.socket}", "--data-root", self.work / "docker",
             "--exec-root", self.work / "exec", "--pidfile", self.work / "docker.pid", "--bridge=none", "--iptables=false",
             "--ip6tables=false", "--ip-forward=false", "--storage-driver=vfs"],
            log, start_new_session=True)

        def is_up():
            assert self.process.poll() is None, f"dockerd ended: {end_of(log)}"
            return docker("version", "--format", "{{.Server.Version}}", check=False)

        wait_for("dockerd", is_up, 60)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)


@contextlib.contextmanager
def cannot():
    try:
        yield
    except AssertionError as why:
        print(f"skipped: no Docker engine can be started here: {why}")
        sys.exit(77)


def image(work):
    with tarfile.open(work / "image.tar", "w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in PROGRAMS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    return str(work / "image.tar")
