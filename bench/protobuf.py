"""Turns the JSON form of a bid request or response into protobuf and back, by proto/openrtb.proto.

What the file does not declare is left out, as an exchange would do. Unknown fields of a message that
is read are skipped.
"""
import pathlib
import re
import struct

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIELD = re.compile(r"(optional|repeated|required)\s+([\w.]+)\s+(\w+)\s*=\s*(\d+)")
WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 0, 1, 2, 5


class Message:
    def __init__(self, name, parent):
        self.name = name
        self.parent = parent
        self.fields = {}  # name -> (number, type, is repeated)
        self.inner = {}

    def find(self, type_name):
        """The message a field's type means, looked up from here outwards; None for a scalar."""
        first, *rest = type_name.split(".")
        scope = self
        while scope:
            found = scope.inner.get(first)
            if found:
                for part in rest:
                    found = found.inner[part]
                return found
            scope = scope.parent
        return None


def load(path=ROOT / "proto/openrtb.proto"):
    """The file as one Message that holds all of them."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.S)
    top = scope = Message("", None)
    for token in re.finditer(r"message\s+(\w+)\s*\{|(\})|((?:optional|repeated|required)[^;]*);",
                             text):
        name, close, field = token.groups()
        if name:
            scope.inner[name] = Message(name, scope)
            scope = scope.inner[name]
        elif close:
            scope = scope.parent
        else:
            label, kind, field_name, number = FIELD.match(field).groups()
            scope.fields[field_name] = (int(number), kind, label == "repeated")
    return top


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_value(number, kind, value, message):
    if message:
        data = encode(message, value)
    elif kind == "string":
        data = str(value).encode()
    elif kind == "bytes":
        data = bytes(value)
    elif kind == "double":
        return varint(number << 3 | WIRE_64) + struct.pack("<d", value)
    elif kind == "float":
        return varint(number << 3 | WIRE_32) + struct.pack("<f", value)
    else:
        return varint(number << 3 | WIRE_VARINT) + varint(int(value))
    return varint(number << 3 | WIRE_BYTES) + varint(len(data)) + data


def encode(message, members):
    out = b""
    for name, (number, kind, is_repeated) in sorted(message.fields.items(),
                                                    key=lambda item: item[1][0]):
        if members.get(name) is None:
            continue
        inner = message.find(kind)
        values = members[name] if is_repeated else [members[name]]
        if inner and not all(isinstance(value, dict) for value in values):
            continue
        out += b"".join(encode_value(number, kind, value, inner) for value in values)
    return out


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def scalar(kind, wire, raw):
    if wire == WIRE_64:
        return struct.unpack("<d" if kind == "double" else "<q", raw)[0]
    if wire == WIRE_32:
        return struct.unpack("<f" if kind == "float" else "<i", raw)[0]
    if wire == WIRE_BYTES:
        return raw if kind == "bytes" else raw.decode()
    if kind == "bool":
        return bool(raw)
    return raw - (1 << 64) if raw >> 63 else raw


def decode(message, data):
    """As JSON would have it. ValueError when it is cut off."""
    names = {number: (name, kind, is_repeated)
             for name, (number, kind, is_repeated) in message.fields.items()}
    found, at = {}, 0
    try:
        while at < len(data):
            key, at = read_varint(data, at)
            wire = key & 7
            if wire == WIRE_VARINT:
                raw, at = read_varint(data, at)
            else:
                size = 8 if wire == WIRE_64 else 4
                if wire == WIRE_BYTES:
                    size, at = read_varint(data, at)
                raw, at = data[at:at + size], at + size
                if len(raw) != size:
                    raise ValueError("cut off")
            if key >> 3 not in names:
                continue
            name, kind, is_repeated = names[key >> 3]
            inner = message.find(kind)
            value = decode(inner, raw) if inner else scalar(kind, wire, raw)
            if is_repeated:
                found.setdefault(name, []).append(value)
            else:
                found[name] = value
    except IndexError:
        raise ValueError("cut off") from None
    return found


def request(members):
    return encode(load().inner["BidRequest"], members)


def response(data):
    return decode(load().inner["BidResponse"], data)
