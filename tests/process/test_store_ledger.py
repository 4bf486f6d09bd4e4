#!/usr/bin/env python3
"""Starts a server and a migrated database for the C programs that test the ledger; what they say is passed on."""
import os
import subprocess
import sys

import _path
from lib.postgres import PrivatePostgres
from lib.store_drive import BUILD, ROOT, Drive

failed = 0
with PrivatePostgres() as server:
    for program in ("store_check", "store_check_waits", "store_check_chains", "store_check_ticks"):
        url = server.create_database()
        with Drive(url) as drive:
            answer = drive("migrate", os.path.join(ROOT, "sql"), "engine")
            if answer["result"] != "ok":
                sys.exit(f"not ok 1 - cannot migrate: {answer}")
        code = subprocess.run(
            [os.path.join(BUILD, "tests/process", program)],
            check=False,
            env=dict(os.environ, DATABASE_URL=url, CMOCKA_MESSAGE_OUTPUT="TAP"),
        ).returncode
        failed = failed or code
sys.exit(1 if failed else 0)
