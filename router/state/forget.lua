-- Take the mark away, and with it every counter of its epoch: those are left to run out. KEYS: the mark.
return redis.call('DEL', KEYS[1])
