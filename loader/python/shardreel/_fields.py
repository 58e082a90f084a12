"""What the fields of samples become, by the last part of their names, as WebDataset decodes them."""

import collections.abc
import io
import json
import logging
import uuid
import weakref

from ._errors import DataError, OptionError

_log = logging.getLogger("shardreel")


def _array(content):
    import numpy
    return numpy.load(io.BytesIO(content), allow_pickle=False)


_INTEGERS = ("cls", "cls2", "index", "inx", "id")
_DECODERS = {
    **{kind: int for kind in _INTEGERS},
    **{kind: json.loads for kind in ("json", "jsn")},
    **{kind: bytes.decode for kind in ("txt", "text", "transcript")},
    "npy": _array,
}


def _kind(name):
    return name.rsplit(".", 1)[-1]


def decode(name, content, key, shard):
    """The value of one field of one sample; None stays None, unknown kinds stay bytes."""
    decoder = _DECODERS.get(_kind(name))
    if content is None or decoder is None:
        return content
    try:
        return decoder(content)
    except (ValueError, EOFError, RecursionError) as failed:
        shown = content if len(content) <= 40 else content[:40] + b"..."
        raise DataError(f"shard {shard}, key {key}: field {name} cannot be decoded: {failed}; it is {shown!r}",
                        "bad_field", shard, key) from failed


def collate(name, values, make_integers):
    """One value for a batch: integers as a tensor, arrays of one shape and type as one array, everything
    else, and what is ragged or missing in places, as the list."""
    if any(value is None for value in values):
        return values
    if _kind(name) in _INTEGERS and all(isinstance(value, int) and -2**63 <= value < 2**63 for value in values):
        return make_integers(values)
    if _kind(name) == "npy" and len({(getattr(value, "shape", None), getattr(value, "dtype", None))
                                     for value in values}) == 1:
        import numpy
        return numpy.stack(values)
    return values


class Default:
    """For `on_field_error`: the value that stands in for content that does not fit its field's name."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"Default({self.value!r})"


_policies = weakref.WeakValueDictionary()  # by name: a batch that comes back from a worker finds its own


class FieldPolicy:
    """What becomes of a field whose content does not fit its name: the option `on_field_error`.

    "fail" raises DataError when the field is asked for, "skip" leaves the clip out, `Default(value)` puts
    a value in; one for all fields, or a dict by their names, where "*" stands for the others ("fail").
    Each is counted, and the first ones are logged.
    """

    _SAID = 5  # of each field, in the log
    _JUDGED_FROM = 100  # clips: below that a ratio says nothing

    def __init__(self, given=None):
        self.given = given
        rules = given if isinstance(given, collections.abc.Mapping) else {"*": "fail" if given is None else given}
        for name, rule in rules.items():
            if not isinstance(name, str) or not (isinstance(rule, Default) or rule in ("fail", "skip")):
                raise OptionError(f"on_field_error is {given!r}; expected 'fail', 'skip' or shardreel.Default(value), "
                                  "or a dict of them by fields' names", "invalid_option")
        self._rules = dict(rules)
        self._name = uuid.uuid4().hex
        _policies[self._name] = self
        self.counts = {}  # {field: {"fail" | "skip" | "default": number}}
        self._clips, self._skipped = 0, 0

    def __reduce__(self):
        return _policy_named, (self._name, self.given)

    @property
    def skips(self):
        """Whether some field's clips are left out, so that it has to be decoded unasked."""
        return "skip" in self._rules.values()

    def rule(self, name):
        return self._rules.get(name, self._rules.get("*", "fail"))

    def decode(self, name, content, key, shard):
        """As the function; a default where the policy has one, else DataError."""
        try:
            return decode(name, content, key, shard)
        except DataError as failed:
            rule = self.rule(name)
            word = "default" if isinstance(rule, Default) else rule
            counts = self.counts.setdefault(name, {})
            counts[word] = counts.get(word, 0) + 1
            if word == "fail":
                raise
            if sum(counts.values()) <= self._SAID:
                what = "its clip is left out" if word == "skip" else f"{rule.value!r} stands in for it"
                _log.warning("%s; %s", failed, what)
            if word == "default":
                return rule.value
            raise

    def judge(self, clips, skipped, most):
        """Count the clips of a batch; raise DataError when more than `most` of all were left out."""
        self._clips += clips
        self._skipped += skipped
        if self._clips >= self._JUDGED_FROM and self._skipped > most * self._clips:
            raise DataError(f"{self._skipped} of {self._clips} clips were left out for fields that cannot be "
                            f"decoded, more than max_skip_ratio {most} allows: {self.counts}", "skip_ratio")


def _policy_named(name, given):
    policy = _policies.get(name)
    if policy is None:
        policy = FieldPolicy(given)
        policy._name = name
        _policies[name] = policy
    return policy
