-- Give places back; who holds none is no matter.
--
-- KEYS: the mark, then the counters of places. ARGV: the epoch, then a holder for each. Returns the epoch that there is;
-- nothing is changed unless it is that one.
local epoch = redis.call('GET', KEYS[1])
if epoch == ARGV[1] then
  for i = 2, #KEYS do
    redis.call('ZREM', KEYS[i], ARGV[i])
  end
end
return {epoch}
