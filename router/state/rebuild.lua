-- Begin an epoch with these counters, unless somebody has begun one.
--
-- KEYS: the mark, then the counters of the new epoch. ARGV: the new epoch, then for each counter its level, how many
-- milliseconds it lives, and its holders, a line each, where it is one of places. Returns 1, or 0 where somebody was
-- faster.
if not redis.call('SET', KEYS[1], ARGV[1], 'NX') then
  return 0
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #KEYS do
  local level, ttl_ms, holders = ARGV[3 * i - 4], ARGV[3 * i - 3], ARGV[3 * i - 2]
  if holders == '' then
    redis.call('SET', KEYS[i], level, 'PX', ttl_ms)
  else
    for holder in holders:gmatch('[^\n]+') do
      redis.call('ZADD', KEYS[i], now_ms + ttl_ms, holder)
    end
    redis.call('PEXPIRE', KEYS[i], ttl_ms)
  end
end
return 1
