"""Journal and snapshots: the only room that knows the disk.

```
STATE/lock                                   one process per directory            (lock)
STATE/journal/journal-00000001.log           batches and events, in order         (record, segment, index, journal)
STATE/snapshots/snapshot-00000012/           everything, at one journal position  (tree, tensors, snapshot, writer)
```

`verify` looks at all of it without changing it; `filesystem` is the one door to the disk.
"""
