# Reads each file by one of Python's readers and prints what came out: NUL after
# each KEY=VALUE, one more after each file, nothing for a file that was refused.
import ctypes
import glob
import json
import sys


def systemd(path):
    """What EnvironmentFile= does: load_env_file, then only valid assignments."""
    pairs = ctypes.POINTER(ctypes.c_char_p)()
    if shared.load_env_file(None, path.encode(), ctypes.byref(pairs)) < 0:
        return
    place = 0
    while pairs and pairs[place] is not None:
        if shared.env_assignment_is_valid(pairs[place]):
            yield pairs[place]
        place += 1


def texts(pairs):
    for key, value in pairs.items():
        if value is not None:
            yield f"{key}={value}".encode(errors="surrogatepass")


def dotenv(path):
    return texts(dotenv_values(path))


def json_object(path):
    with open(path, "rb") as file:
        return texts(json.load(file))


name, modules, *paths = sys.argv[1:]
if name == "systemd":
    shared = ctypes.CDLL(glob.glob("/usr/lib/*/systemd/libsystemd-shared-*.so")[0])
    shared.env_assignment_is_valid.restype = ctypes.c_bool
if name == "dotenv":
    sys.path.insert(0, modules)
    from dotenv import dotenv_values
read = {"systemd": systemd, "dotenv": dotenv, "json": json_object}[name]
for path in paths:
    try:
        found = b"".join(pair + b"\0" for pair in read(path))
    except (ValueError, KeyError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        found = b""
    sys.stdout.buffer.write(found + b"\0")
