# The registry of classes in a process that pickles: what receivers have in `copyreg` (see `receiver.py`), and the keys
# of the classes that were defined here, which no load changes. `tracking.rs` gives the keys, and `tidy`.

import copyreg
from types import SimpleNamespace


class Classes(dict):
    def __init__(self, known):
        self.own, self.keys_by_address, self.counts = set(), {}, {}
        super().__init__(known)
        living = [(key, reference()) for key, reference in list(self.items())]
        self.keys_by_address.update((id(obj), key) for key, obj in living if obj is not None)

    # A load sets a class, unless there is one.
    def setdefault(self, key, reference):
        found = super().setdefault(key, reference)
        if found() is None:
            found = self[key] = reference
        if found is reference:
            self.own.discard(key)
            self.keys_by_address[id(reference())] = key
            tidy(self)
        return found

    # A load looks for a class by its key, and asks with a tuple what it may fill: a class of the process's own is passed
    # over for something that is forgotten. Two items: for calls of `type.__setattr__`, which want a class.
    def get(self, key, default=None):
        if type(key) is tuple:
            if key[0] not in self.own:
                return default
            return SimpleNamespace() if len(key) == 1 else type("forgotten", (), {})
        found = super().get(key)
        return default if found is None or found() is None else found


classes = copyreg.__dict__[NAME] = Classes(copyreg.__dict__.get(NAME, {}))
