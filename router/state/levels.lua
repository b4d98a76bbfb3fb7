-- Where the counters stand, as text; '0' for one that does not exist.
--
-- KEYS: the mark, then the counters. ARGV: the epoch. Returns the epoch that there is, and if it is that one, the levels.
local epoch = redis.call('GET', KEYS[1])
local found = {epoch}
if epoch == ARGV[1] then
  for i = 2, #KEYS do
    found[i] = redis.call('GET', KEYS[i]) or '0'
  end
end
return found
