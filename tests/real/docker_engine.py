"""A Docker engine of our own on a private socket, and an image made of busybox.

Machines differ in what they let an engine do; the ways to start one are tried in turn until a container has run.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tarfile

from harness import end_of, skip, spawn, stop, wait_for

# The command of the distribution, which is as old as its engine; others may be in the way.
DOCKER = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
IMAGE = "daybook-test:1"
PROGRAMS = ["sh", "cat", "echo", "awk", "head", "tr", "seq", "sleep", "true", "usleep", "printf", "yes"]

# Control groups anew, where there are none, or none that may be written: of the first kind as far as the kernel has them, or else
# of the second, where no process may be in a group that has others below it.
OWN_CGROUPS = """
mount -t tmpfs cgroups /sys/fs/cgroup
for controller in $(awk '!/^#/ && $2 != 0 { print $1 }' /proc/cgroups); do
    mkdir /sys/fs/cgroup/$controller
    mount -t cgroup -o $controller cgroup /sys/fs/cgroup/$controller
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
if [ ! -d /sys/fs/cgroup/devices ]; then
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup /sys/fs/cgroup
    cd /sys/fs/cgroup
    # Not of the whole machine: those of a container.
    if [ -e cgroup.type ]; then
        mkdir -p init
        for process in $(cat cgroup.procs); do echo $process > init/cgroup.procs; done
    fi
    for controller in $(cat cgroup.controllers); do echo +$controller > cgroup.subtree_control; done
fi
exec "$@"
"""

# What starts the programs, and options of the engine.
WAYS = {
    "as it is": ([], []),
    "with control groups of its own": (
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", OWN_CGROUPS, "sh"], ["--exec-opt", "native.cgroupdriver=cgroupfs"]),
}


def docker(*arguments, check=True):
    done = subprocess.run([DOCKER, *arguments], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments[:6])}: {done.stderr}")
    return done.stdout.strip()


class Engine:
    def __init__(self, work):
        self.work, self.socket, self.programs = work, work / "docker.sock", {}
        os.environ["DOCKER_HOST"] = f"unix://{self.socket}"

    @contextlib.contextmanager
    def running(self):
        """The engine with its image; afterwards no container of it runs any more, and nothing is mounted."""
        archive = image(self.work)
        try:
            for way in WAYS:
                try:
                    self.begin(way, archive)
                    break
                except AssertionError as problem:
                    why = str(problem).strip()
                    print(f"no Docker engine {way}: {why.splitlines()[-1]}")
                    self.end()
            else:
                if "AS_ANOTHER_ROOT" not in os.environ:
                    as_another_root()
                skip("no Docker engine can be started here:\n" + "\n".join(why.splitlines()[-5:]))
            print(f"engine {docker('version', '--format', '{{.Server.Version}}')}, {way}")
            yield self
        finally:
            self.end()

    def begin(self, way, archive):
        prefix, self.options = WAYS[way]
        # A process of its own, as on a real machine: it and the containers outlive an engine that is killed.
        self.spawn(*prefix, "containerd", "--address", self.work / "containerd.sock", "--root", self.work / "containerd",
                   "--state", self.work / "containerd-state", name="containerd")
        wait_for("containerd", lambda: self.are_running() and (self.work / "containerd.sock").exists(), 60)
        self.start()
        docker("import", "-c", "ENV PATH=/bin", archive, IMAGE)
        self.run("first", "true", "--rm")

    def end(self):
        if "containerd" in self.programs and self.programs["containerd"].poll() is None:
            # Also of an engine that is down.
            tasks = ["ctr", "--address", self.work / "containerd.sock", "--namespace", "moby", "tasks"]
            for task in subprocess.run([*tasks, "ls", "--quiet"], capture_output=True, text=True).stdout.split():
                subprocess.run([*tasks, "kill", "--signal", "SIGKILL", task], capture_output=True)
        for process in reversed(self.programs.values()):
            stop(process)
        self.programs.clear()
        unmount(self.work)

    def spawn(self, *command, name):
        self.programs[name] = spawn(command, self.work / f"{name}.log", start_new_session=True)

    def are_running(self):
        for name, process in self.programs.items():
            assert process.poll() is None, f"{name} ended: {end_of(self.work / f'{name}.log')}"
        return True

    def start(self):
        # What a killed engine leaves behind keeps the next one from starting.
        for stale in (self.work / "docker.pid", self.socket):
            stale.unlink(missing_ok=True)
        # Where containerd sees its control groups.
        self.spawn(
            "nsenter", "--mount", "--target", str(self.programs["containerd"].pid),
            "dockerd", "--containerd", self.work / "containerd.sock", "-H", f"unix://{self.socket}", "--group", "0",
            "--data-root", self.work / "docker", "--exec-root", self.work / "exec", "--pidfile", self.work / "docker.pid", "--bridge=none",
            "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--userland-proxy=false", "--storage-driver=vfs",
            *self.options, name="dockerd")
        wait_for("dockerd", lambda: self.are_running() and docker("version", "--format", "{{.Server.Version}}", check=False), 60)

    def stop(self, how=signal.SIGTERM):
        self.programs["dockerd"].send_signal(how)
        self.programs["dockerd"].wait(60)

    def run(self, name, command, *options):
        # A second to end by itself: its shell does not listen.
        return docker("run", "--name", name, "--network", "none", "--stop-timeout", "1", *options, IMAGE, "sh", "-c", command)


def as_another_root():
    """This script once more, in a user namespace: where root may do what it may not do here."""
    print("once more, in a user namespace")
    inside = "read mapped && exec unshare --mount --net sh -c 'ip link set lo up && exec \"$@\"' sh \"$@\""
    script = subprocess.Popen(["unshare", "--user", "sh", "-c", inside, "sh", sys.executable, *sys.argv], stdin=subprocess.PIPE,
                              env={**os.environ, "AS_ANOTHER_ROOT": "1"})
    try:
        wait_for("the namespace", lambda: namespace_of(script.pid) != namespace_of("self"), 10)
        for kind in ("uid", "gid"):
            pathlib.Path(f"/proc/{script.pid}/{kind}_map").write_text("0 0 65536\n")
        script.communicate(b"mapped\n")
        sys.exit(script.returncode)
    except (OSError, AssertionError) as problem:
        print(f"no user namespace: {problem}")
    finally:
        stop(script)


def namespace_of(process):
    return os.readlink(f"/proc/{process}/ns/user")


def unmount(folder):
    """What is mounted below it, the last first."""
    mounted = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(mounted):
        if point.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", point], check=False)


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
