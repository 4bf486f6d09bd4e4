"""The engine's ids and hashes, written a second time from their description, so that the checker can recompute them.

Mirrors engine/base/span.c, engine/event/id.c and engine/event/correlation.c; the constants are the first bits of square
roots of small primes.
"""
import json

MASK = (1 << 64) - 1
ROOT_2, ROOT_3, ROOT_5 = 0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B
ROOT_7, ROOT_11, ROOT_13 = 0xA54FF53A5F1D36F1, 0x510E527FADE682D1, 0x9B05688C2B3E6C1F


def _rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK


def _fold(a, b):
    product = a * b
    return (product & MASK) ^ (product >> 64)


def _word(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def _tail(data):
    """Up to 16 bytes as two words."""
    length = len(data)
    if length >= 8:
        return _word(data, 0), _word(data, length - 8)
    if length >= 4:
        return int.from_bytes(data[:4], "little"), int.from_bytes(data[-4:], "little")
    if length > 0:
        return data[0] << 16 | data[length // 2] << 8 | data[-1], 0
    return 0, 0


def _step(state, low, high, root):
    state ^= high
    return ((_rotate(state, 23) + low) & MASK) ^ _fold(low ^ root, state)


def hash64(data):
    """span_hash(): of payloads."""
    length, at, left, state = len(data), 0, len(data), ROOT_2
    if left > 48:
        second, third = ROOT_3, ROOT_5
        while True:
            state = _step(state, _word(data, at), _word(data, at + 8), ROOT_7)
            second = _step(second, _word(data, at + 16), _word(data, at + 24), ROOT_11)
            third = _step(third, _word(data, at + 32), _word(data, at + 40), ROOT_13)
            at += 48
            left -= 48
            if left <= 48:
                break
        state ^= (_rotate(second, 17) + _rotate(third, 41)) & MASK
    while left > 16:
        state = _step(state, _word(data, at), _word(data, at + 8), ROOT_7)
        at += 16
        left -= 16
    low, high = _tail(data[at:])
    state = _step(state, low, high, ROOT_3)
    return _fold(state ^ ROOT_5, length ^ ROOT_11 ^ _rotate(state, 32))


def signed(number):
    """A 64-bit number as PostgreSQL's bigint."""
    return number - (1 << 64) if number >> 63 else number


def _mix(value):
    value ^= value >> 32
    value = value * ROOT_13 & MASK
    value ^= value >> 29
    value = value * ROOT_11 & MASK
    return value ^ value >> 32


def hash128(data):
    """span_hash128(): of ids."""
    at, left, x, y = 0, len(data), ROOT_2, _mix(ROOT_3 ^ len(data))
    while left > 16:
        x = _mix(x ^ _word(data, at))
        y = _mix(y ^ _word(data, at + 8) ^ x)
        x = (x + _rotate(y, 31)) & MASK
        at += 16
        left -= 16
    low, high = _tail(data[at:])
    x = _mix(x ^ low)
    y = _mix(y ^ high ^ x)
    x = _mix((x + y + ROOT_5) & MASK)
    y = _mix(y ^ x ^ ROOT_7)
    x = (x + y) & MASK
    return x.to_bytes(8, "little") + y.to_bytes(8, "little")


def _uuid_bytes(text):
    if len(text) != 36 or any(text[i] != "-" for i in (8, 13, 18, 23)):
        return None
    plain = text.replace("-", "")
    if len(plain) != 32 or any(c not in "0123456789abcdef" for c in plain):
        return None
    return bytes.fromhex(plain)


def uuid_text(data):
    plain = data.hex()
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


def id_of(text):
    """The id that the inbox stores for an eventId, as a UUID's text."""
    return uuid_text(_uuid_bytes(text) or hash128(text.encode("utf-8", "surrogateescape")))


def derive(parent, handler, route, ordinal=0):
    """The eventId of an emitted event."""
    parts = hash128(parent.encode()) + hash128(handler.encode()) + hash128(route.encode()) + ordinal.to_bytes(4, "big")
    derived, origin = bytearray(hash128(parts)), _uuid_bytes(parent)
    derived[:6] = origin[:6] if origin and origin[6] >> 4 in (7, 8) else parts[:6]
    derived[6] = 0x80 | derived[6] & 0x0F
    derived[8] = 0x80 | derived[8] & 0x3F
    return uuid_text(bytes(derived))


def record_id(topic, key, value, timestamp_ms):
    """The id of a record in which none can be read."""
    return uuid_text(hash128(hash128(topic) + hash128(key) + hash128(value) + timestamp_ms.to_bytes(8, "big")))


def conflict_id(event_uuid, value):
    """The id under which a second payload of a used id is recorded."""
    return id_of(f"conflict:{event_uuid}:{hash64(value):x}")


def correlation(value):
    """The text by which a field's value ties events, or None when it ties nothing."""
    if isinstance(value, str):
        good = 0 < len(value.encode("utf-8", "surrogatepass")) <= 128 and not any(c < " " or c == "\x7f" for c in value)
        return value if good else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return str(int(value)) if -(2**63) <= value < 2**63 else None


def read_id(value):
    """The eventId in a value, or None when there is none to read."""
    try:
        envelope = json.loads(value)
    except ValueError:
        return None
    except RecursionError:
        return None
    text = envelope.get("eventId") if isinstance(envelope, dict) else None
    if isinstance(text, str) and 0 < len(text) <= 128 and all("!" <= c <= "~" for c in text):
        return text
    return None
