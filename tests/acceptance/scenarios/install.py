"""The way into a fresh machine, as docs/install.md tells it."""

import re
import time

import image
from guest import Trouble

# A slow typist's minute, in characters: forty words. What a person has to do until the first reading may take one.
TYPED_A_MINUTE = 200

BLOCK = re.compile(r"^( *)```(sh|sh board)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def the_guide_followed_word_for_word_leads_to_a_reading_and_out_again(lab):
    guide = (image.TREE / "docs" / "install.md").read_text()
    blocks = [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, _, text in BLOCK.findall(guide)]
    guest = lab.guest()
    began, first, typed = time.monotonic(), None, 0
    for block in blocks:
        if "serialgate init" in block:
            lab.wire_board(guest, "GUIDE1", rate=2)
            guest.until("the board is there", "ls /dev/serial/by-id/*GUIDE1*")
        if "serialgate_*.deb" in block and first is not None:
            raise Trouble("the guide installs twice")
        guest.write("/root/block", block)
        output = guest.sh("cd /root && bash -e ./block < /dev/null", 900)
        if first is None:
            typed += len(block)
        if "serialgate watch" in block:
            first = time.monotonic() - began
            if not re.search(r"^[0-9 :.-]+  bench-0c0d  temp ", output, re.MULTILINE):
                raise Trouble(f"no reading in: {output}")
    if first is None:
        raise Trouble("the guide shows no reading")
    if typed > TYPED_A_MINUTE:
        raise Trouble(f"{typed} characters to be typed until the first reading")
    files = "/var/lib/serialgate /usr/bin/serialgate /lib/systemd/system/serialgate.service"
    left = guest.sh(f"ls -d {files}", may_fail=True)
    if left.count("No such file") != 3:
        raise Trouble(f"purging leaves: {left}")
    return (
        f"{len(blocks)} blocks; {typed} characters typed until the first reading, "
        f"which took {first:.0f} s of an emulated machine's"
    )
