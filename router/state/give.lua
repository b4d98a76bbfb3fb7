-- Add to the counters that exist, down to 0.
--
-- KEYS: the mark, then the counters. ARGV: the epoch, then an amount for each counter, mostly negative. Returns the
-- epoch that there is; nothing is changed unless it is that one.
local epoch = redis.call('GET', KEYS[1])
if epoch == ARGV[1] then
  for i = 2, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 1 and redis.call('INCRBY', KEYS[i], ARGV[i]) < 0 then
      redis.call('SET', KEYS[i], 0, 'KEEPTTL')
    end
  end
end
return {epoch}
