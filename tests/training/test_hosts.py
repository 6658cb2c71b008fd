"""Ranks on two hosts: two network namespaces with names, addresses and an SSH server of their own."""

import os
import shutil
import subprocess
import sys

import pytest

HOSTS = {"node1": "10.9.0.1", "node2": "10.9.0.2"}
TRAIN = """
import sys, json
import seaicekit as sik
tiles, out = sys.argv[1:]
settings = dict(epochs=2, width=2, depth=2, dropout=False, augment=False, progress=False)
two = dict(ranks=2, launcher="horovodrun", hosts="node1:1,node2:1", batch=2)
two = sik.train(tiles, out + "/two", **two, **settings)
one = sik.train(tiles, out + "/one", ranks=1, launcher="inprocess", batch=4, **settings)
print(json.dumps([two, one]))
"""


def run(*command, check=True, **more):
    return subprocess.run(command, check=check, capture_output=True, text=True, **more)


@pytest.fixture
def hosts(tmp_path):
    """Two hosts that see the same files; what starts a command on the first of them."""
    if os.geteuid() or not all(map(shutil.which, ("ip", "unshare", "ssh", "sshd", "ssh-keygen"))):
        pytest.skip("needs root, iproute2, util-linux and OpenSSH")
    for key in ("key", "host"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key)
    os.makedirs("/run/sshd", exist_ok=True)
    (tmp_path / "hosts").write_text(
        "127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in HOSTS.items())
    )
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(
        f"#!/bin/sh\nexec {shutil.which('ssh')} -i {tmp_path}/key -o StrictHostKeyChecking=no "
        '-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"\n'
    )
    ssh.chmod(0o755)
    servers = []
    try:
        for name in HOSTS:
            run("ip", "netns", "add", name)
        # Horovod wants an interface of the same name on all hosts.
        run(
            "ip",
            "link",
            "add",
            "net0",
            "netns",
            "node1",
            "type",
            "veth",
            "peer",
            "name",
            "net0",
            "netns",
            "node2",
        )
        for name, ip in HOSTS.items():
            for words in (
                ("addr", "add", f"{ip}/24", "dev", "net0"),
                ("link", "set", "net0", "up"),
                ("link", "set", "lo", "up"),
            ):
                run("ip", "-n", name, *words)
            server = [shutil.which("sshd"), "-D", "-e", "-f", "/dev/null", "-h", f"{tmp_path}/host"]
            options = {
                "AuthorizedKeysFile": f"{tmp_path}/key.pub",
                "StrictModes": "no",
                "UsePAM": "no",
                "PermitRootLogin": "yes",
                "PidFile": "none",
                "ListenAddress": ip,
            }
            server += [f"-o{option}={value}" for option, value in options.items()]
            servers.append(subprocess.Popen(_on(name, tmp_path, server), stderr=subprocess.DEVNULL))
        yield lambda *command: _on(
            "node1", tmp_path, [*map(str, command)], f"PATH={tmp_path}/bin:{os.environ['PATH']}"
        )
    finally:
        for server in servers:
            server.terminate()
            server.wait(10)
        for name in HOSTS:
            run("ip", "netns", "del", name, check=False)


def _on(name, folder, command, *environment):
    """Return a command that runs on a host, where each host's name has an address that others reach."""
    script = f'mount --bind {folder}/hosts /etc/hosts && hostname {name} && exec env "$@"'
    return [
        "ip",
        "netns",
        "exec",
        name,
        "unshare",
        "--uts",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        *environment,
        *command,
    ]


@pytest.mark.exhaustive
def test_two_hosts_train_as_one(hosts, small, tmp_path):
    import json

    done = run(
        *hosts(sys.executable, "-c", TRAIN, small[0] / "tiles.parquet", tmp_path), check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    two, one = json.loads(done.stdout.splitlines()[-1])
    assert two["ranks"] == 2 and len(set(two["weights_sha256"])) == 1
    assert two["epochs"][-1]["loss"] == pytest.approx(one["epochs"][-1]["loss"], rel=1e-3)
