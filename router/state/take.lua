-- Add every claim, or none.
--
-- KEYS: the mark, then the counters. ARGV: the epoch; then for each counter the highest level at which its claim still
-- fits, the amount, how many milliseconds it counts, and who holds it where the counter is one of places: a set of
-- holders, each with its own end. Returns the epoch that there is, and if it is that one, which claim does not fit (1 is
-- the first; 0 is none).
--
-- Numbers stay text: Lua's own are doubles, exact to 2^53, while Redis adds whole numbers of 64 bits.
local epoch = redis.call('GET', KEYS[1])
if epoch ~= ARGV[1] then
  return {epoch}
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function is_at_most(level, most)
  if #level ~= #most then
    return #level < #most
  end
  return level <= most
end

local function level_of(key, holder)
  if holder == '' then
    return redis.call('GET', key) or '0'
  end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now_ms)
  return tostring(redis.call('ZCARD', key))
end

for i = 2, #KEYS do
  local most = ARGV[4 * i - 6]
  if most:sub(1, 1) == '-' or not is_at_most(level_of(KEYS[i], ARGV[4 * i - 3]), most) then
    return {epoch, i - 1}
  end
end
for i = 2, #KEYS do
  local amount, ttl_ms, holder = ARGV[4 * i - 5], ARGV[4 * i - 4], ARGV[4 * i - 3]
  if holder ~= '' then
    redis.call('ZADD', KEYS[i], now_ms + ttl_ms, holder)
    if redis.call('PTTL', KEYS[i]) < tonumber(ttl_ms) then
      redis.call('PEXPIRE', KEYS[i], ttl_ms)
    end
  elseif not redis.call('SET', KEYS[i], amount, 'NX', 'PX', ttl_ms) then
    redis.call('INCRBY', KEYS[i], amount)
  end
end
return {epoch, 0}
