#!/usr/bin/env python3
"""Ticks of `cron:` beside what Python's zoneinfo says: thousands of times in many zones, through days of 23, 25
and 24½ hours, leap days, and years that no file of the tz database lists."""
import datetime
import random
import subprocess
import unittest
import zoneinfo

import _path  # noqa: F401
from lib.engine import BUILD

MINUTE, DAY = datetime.timedelta(minutes=1), datetime.timedelta(days=1)
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (0, 7, WEEKDAYS))
ZONES = (
    "Europe/Berlin America/New_York America/Sao_Paulo Asia/Kolkata Asia/Kathmandu Australia/Lord_Howe Pacific/Apia "
    "Pacific/Chatham America/St_Johns Africa/Casablanca Europe/Dublin America/Nuuk Asia/Gaza Antarctica/Troll UTC "
    "Etc/GMT+12 Pacific/Kiritimati Africa/Cairo America/Santiago Asia/Tehran"
).split()


def field(text, least, most, names):
    """The values of one field."""
    found = set()
    for part in text.split(","):
        part, _, step = part.partition("/")
        first, _, last = part.partition("-")
        value = lambda word: names.index(word) + least if word in names else int(word)
        if first == "*":
            low, high = least, most
        else:
            low = value(first)
            high = value(last) if last else most if step else low
        found.update(range(low, high + 1, int(step or 1)))
    return found


class Cron:
    """One expression, by brute force: all local minutes that fit, where the clocks first show them or later ones."""

    def __init__(self, text):
        texts = text.split()
        self.minutes, self.hours, self.days, self.months, self.weekdays = (
            field(texts[i], *FIELDS[i]) for i in range(len(FIELDS))
        )
        self.weekdays = {day % 7 for day in self.weekdays}
        self.either = texts[2][0] != "*" and texts[4][0] != "*"

    def fits_day(self, local):
        month, week = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return local.month in self.months and (month or week if self.either else month and week)

    def fits(self, local):
        return local.minute in self.minutes and local.hour in self.hours and self.fits_day(local)

    def shown(self, local, zone):
        """The first moment at which clocks of the zone show `local` or later."""
        at = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None) == local:
            return at
        early, late = at - 2 * DAY, at + 2 * DAY  # it is skipped: the change is where the clocks pass it
        while late - early > datetime.timedelta(seconds=1):
            middle = early + (late - early) // 2
            middle = middle.replace(microsecond=0)
            if middle.astimezone(zone).replace(tzinfo=None) < local:
                early = middle
            else:
                late = middle
        return late

    def ticks(self, zone, begin, days):
        """All ticks from `begin` on, for about so many days."""
        found = set()
        if len(self.hours) == 24:
            at = begin.replace(second=0, microsecond=0)
            while at < begin + days * DAY:
                local = at.astimezone(zone)
                if local.second == 0 and self.fits(local.replace(tzinfo=None)):
                    found.add(at)
                at += MINUTE
        else:
            day = begin.astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0) - 2 * DAY
            for _ in range(days + 2):
                if self.fits_day(day):
                    for hour in self.hours:
                        for minute in self.minutes:
                            found.add(self.shown(day.replace(hour=hour, minute=minute), zone))
                day += DAY
        return sorted(at for at in found if at >= begin)


def answers(lines):
    done = subprocess.run(
        [BUILD / "tests/process/cron_times"],
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


def ms(at):
    return int((at - EPOCH).total_seconds()) * 1000


def random_field(rng, least, most, names):
    if rng.random() < 0.45:
        return "*"
    parts = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        low, high = sorted(rng.sample(range(least, most + 1), 2))
        word = lambda value: names[value - least] if value - least < len(names) and rng.random() < 0.5 else str(value)
        parts.append(
            rng.choice((word(low), word(low), f"{word(low)}-{word(high)}", f"*/{rng.randint(1, most)}"))
            + (f"/{rng.randint(1, 7)}" if rng.random() < 0.1 else "")
        )
    return ",".join(part if part.count("/") < 2 else part.rpartition("/")[0] for part in parts)


class AgainstZoneinfo(unittest.TestCase):
    def setUp(self):
        self.asked = []  # (line of the input, its expected answer)

    def compare(self, zone_name, begin, text, days):
        """The first ticks after `begin`, the last one before it, and the last one before each of three of them."""
        zone = zoneinfo.ZoneInfo(zone_name)
        ticks = [ms(at) for at in Cron(text).ticks(zone, begin - days * DAY, 2 * days)]
        after = [at for at in ticks if at > ms(begin)][:40]
        before = [at for at in ticks if at <= ms(begin)]
        if not after or not before:
            return
        self.asked.append((f"{zone_name} {ms(begin)} {len(after)} {text}", after + before[-1:]))
        for at in after[:3]:
            last = max(tick for tick in after if tick <= at + 30000)
            self.asked.append((f"{zone_name} {at + 30000} 0 {text}", [last]))

    def check(self, least):
        """All that was asked for, in one run of the program; at least so many times."""
        got = answers([line for line, _ in self.asked])
        self.assertGreater(sum(len(expected) for _, expected in self.asked), least)
        for (line, expected), answer in zip(self.asked, got, strict=True):
            self.assertEqual([int(at) for at in answer.split()], expected, line)

    def test_around_the_days_on_which_clocks_change(self):
        rng = random.Random(4711)
        for zone_name in ZONES:
            zone = zoneinfo.ZoneInfo(zone_name)
            changes = []
            at = datetime.datetime(2009, 1, 1, tzinfo=UTC)
            while at.year < 2031:
                if at.astimezone(zone).utcoffset() != (at + DAY).astimezone(zone).utcoffset():
                    changes.append(at)
                at += DAY
            begins = rng.sample(changes, min(4, len(changes))) or [at]
            begins += [datetime.datetime(year, 3, 20, tzinfo=UTC) + rng.randint(0, 20) * DAY for year in (2044, 2077)]
            begins += [datetime.datetime(2096, 10, 20, tzinfo=UTC) + rng.randint(0, 20) * DAY]
            for begin in begins:
                begin -= rng.randint(0, 1440) * MINUTE
                for text in ("30 2 * * *", "15 1 * * *", "*/20 * * * *", "0 */2 * * *", "5 0-3 * * *", "59 23 * * *"):
                    self.compare(zone_name, begin, text, 4)
                for _ in range(3):
                    text = " ".join(random_field(rng, *FIELDS[i]) for i in range(len(FIELDS)))
                    self.compare(zone_name, begin, text, 9)
        self.check(8000)

    def test_leap_days(self):
        zone = zoneinfo.ZoneInfo("Europe/Berlin")
        got = answers([f"Europe/Berlin {ms(datetime.datetime(2095, 1, 1, tzinfo=UTC))} 3 30 2 29 feb *"])[0].split()
        expected = [datetime.datetime(year, 2, 29, 2, 30, tzinfo=zone) for year in (2096, 2104, 2108)]
        self.assertEqual([int(at) for at in got[:3]], [ms(at) for at in expected])
        self.assertEqual(int(got[3]), ms(datetime.datetime(2092, 2, 29, 2, 30, tzinfo=zone)))

    def test_each_zone_of_the_system_agrees_on_its_offset(self):
        """`0 12 * * *` is noon everywhere, in each of a few years."""
        for name in sorted(zoneinfo.available_timezones()):
            if name in ("localtime", "Factory") or name.startswith(("posix", "right", "SystemV")):
                continue
            zone = zoneinfo.ZoneInfo(name)
            for year in (1995, 2011, 2026, 2060):
                for month in (1, 7):
                    begin = datetime.datetime(year, month, 10, tzinfo=UTC)
                    noons = [ms(datetime.datetime(year, month, day, 12, tzinfo=zone)) for day in range(8, 15)]
                    after = min(at for at in noons if at > ms(begin))
                    before = max(at for at in noons if at <= ms(begin))
                    self.asked.append((f"{name} {ms(begin)} 1 0 12 * * *", [after, before]))
        self.check(6000)


if __name__ == "__main__":
    unittest.main()
