"""Tries the packages in guests with kernels of their own. docs/acceptance.md says what, and why.

    tests/acceptance                runs all scenarios
    tests/acceptance WORD...        those in whose names or files one of the words stands
    tests/acceptance --list         tells their names
"""

import importlib
import os
import shutil
import sys
import time
import traceback

import image
from lab import Lab

SUBJECTS = ["install", "hotplug", "crash", "power_cut", "trouble", "sandbox", "upgrade", "arm64"]


def scenarios(words):
    """(subject, number, name, function) of what is to be run: the public functions of the modules, in their order."""
    for subject in SUBJECTS:
        module = importlib.import_module(f"scenarios.{subject}")
        own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
        public = [value for value in own if callable(value) and not value.__name__.startswith("_")]
        for number, scenario in enumerate(public):
            name = scenario.__name__.replace("_", " ")
            if not words or any(word in name or word == subject for word in words):
                yield subject, number, name, scenario


def run(subject, number, name, scenario):
    """Runs one, and tells of it in one line. Whether it passed."""
    # Short, because the path of a socket ends at 108 characters.
    folder = image.CACHE / "runs" / f"{subject}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lab, began = Lab(folder), time.monotonic()
    try:
        seen = scenario(lab)
    except Exception:
        trace = traceback.format_exc()
        (folder / "trace").write_text(trace)
        print(f"FAILED  {subject}: {name} ({time.monotonic() - began:.0f} s), see {folder}")
        print("".join(f"        {line}\n" for line in trace.splitlines()[-12:]), flush=True)
        return False
    finally:
        lab.end()
    shutil.rmtree(folder)
    told = f"; {seen}" if seen else ""
    print(f"passed  {subject}: {name} ({time.monotonic() - began:.0f} s){told}", flush=True)
    return True


def main(arguments):
    chosen = list(scenarios([argument for argument in arguments if argument != "--list"]))
    if "--list" in arguments:
        print("\n".join(f"{subject}: {name}" for subject, _, name, _ in chosen))
        return 0
    if not chosen:
        print("acceptance: no scenario is called that; --list tells their names", file=sys.stderr)
        return 64
    if os.geteuid() != 0:
        print("acceptance: run this as root, it makes and mounts disks", file=sys.stderr)
        return 77
    results = [run(*scenario) for scenario in chosen]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
