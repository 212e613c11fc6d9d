"""When a schedule is due next: five fields as in crontab(5), in a time zone. Pure.

The rules:
- Fields are those of POSIX crontab: minute, hour, day of month, month, day of week (0 and 7: Sunday); with lists, ranges,
  steps (``*/15``, ``8-18/2``) and English names of months and days (``mon-fri``). If both the day of month and the day of
  week are given, either may match.
- A time that does not exist, since clocks go forward over it, runs when they have: at the end of the gap. One that comes
  twice, since clocks go back, runs the first time. An hour field ``*`` or ``*/n`` means the hours that pass: it
  neither catches up with what a gap left out nor skips the second pass (as in Debian's cron).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mailgenius.errors import ConfigError

__all__ = ["Cron", "zone"]

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_MONTHS = dict(zip("jan feb mar apr may jun jul aug sep oct nov dec".split(), range(1, 13), strict=True))  # noqa: SIM905
_DAYS = dict(zip("sun mon tue wed thu fri sat".split(), range(7), strict=True))  # noqa: SIM905
_NAMES: tuple[dict[str, int], ...] = ({}, {}, {}, _MONTHS, _DAYS)
_YEARS = 9  # from one 29 February to the next, over a year like 2100 that has none


def zone(name: str) -> ZoneInfo:
    """Raises ``ConfigError``."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f'$.queue.schedule.tz: {name!r} is no time zone; give one as "America/Sao_Paulo"') from error


class Cron:
    """``Cron("0 9 * * 1-5", "America/Sao_Paulo")``. Raises ``ConfigError``."""

    def __init__(self, text: str, tz: str = "UTC") -> None:
        self.text, self.zone = text, zone(tz)
        words = text.lower().split()
        if len(words) != 5:
            raise ConfigError(
                f"$.queue.schedule.cron: {text!r} has {len(words)} fields; give five: minute hour day-of-month month"
                " day-of-week"
            )
        minutes, hours, self._days, self._months, weekdays = (_values(word, at, text) for at, word in enumerate(words))
        self._times = [(hour, minute) for hour in sorted(hours) for minute in sorted(minutes)]
        self._weekdays = {day % 7 for day in weekdays}
        self._any_day, self._any_weekday = words[2] == "*", words[4] == "*"
        self._hourly = words[1].startswith("*")
        if self._any_weekday and not any(_exists(month, day) for month in self._months for day in self._days):
            raise ConfigError(f"$.queue.schedule.cron: {text!r} never comes: no such month has so many days")

    def next_after(self, after: datetime) -> datetime:
        """The first time that it is due after another one (which has a zone)."""
        day = after.astimezone(self.zone).date() - timedelta(days=1)  # clocks may go back over midnight
        for _ in range(_YEARS * 366):
            if self._matches(day):
                later = [
                    due for hour, minute in self._times for due in self._instants(day, hour, minute) if due > after
                ]
                if later:
                    return min(later).astimezone(self.zone)
            day += timedelta(days=1)
        raise AssertionError("unreachable")

    def _matches(self, day: date) -> bool:
        if day.month not in self._months:
            return False
        of_month, of_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        if self._any_day or self._any_weekday:
            return of_month and of_week
        return of_month or of_week

    def _instants(self, day: date, hour: int, minute: int) -> list[datetime]:
        """When the clocks show this time, in UTC: once, twice, or never."""
        first = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
        second = first.replace(fold=1)
        early, late = first.astimezone(UTC), second.astimezone(UTC)
        if early == late:
            return [early]
        if early > late:  # a gap: with fold=0 the offset is the one before it
            return [] if self._hourly else [_change(late, early, self.zone)]
        return [early, late] if self._hourly else [early]


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The moment between two in which the clocks are changed, to the second."""
    old = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def _exists(month: int, day: int) -> bool:
    return day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)


def _values(word: str, at: int, text: str) -> set[int]:
    """What a field allows."""
    what, least, most = _FIELDS[at]

    def wrong(why: str) -> ConfigError:
        return ConfigError(f"$.queue.schedule.cron: the {what} in {text!r} {why}")

    def number(value: str) -> int:
        if value in _NAMES[at]:
            return _NAMES[at][value]
        if not value.isascii() or not value.isdigit():
            raise wrong(
                f"is {value!r}; give numbers from {least} to {most}, *, lists (1,2), ranges (1-5) or steps (*/5)"
            )
        if not least <= int(value) <= most:
            raise wrong(f"is {value}; give {least} to {most}")
        return int(value)

    allowed: set[int] = set()
    for part in word.split(","):
        span, slash, step_text = part.partition("/")
        step = 1
        if slash:
            if not step_text.isdigit() or int(step_text) < 1:
                raise wrong(f"has the step {step_text!r}; give a number from 1")
            step = int(step_text)
        begin, dash, end = span.partition("-")
        if span == "*":
            low, high = least, min(most, 6) if at == 4 else most
        elif dash:
            low, high = number(begin), number(end)
            if low > high and at == 4 and high == 0:
                high = 7  # fri-sun
            if low > high:
                raise wrong(f"goes backwards: {span}")
        else:
            low = number(span)
            high = most if slash else low
        allowed.update(range(low, high + 1, step))
    return allowed
