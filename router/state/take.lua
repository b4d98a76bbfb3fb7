-- Add every claim, or none.
--
-- KEYS: the mark, then the counters. ARGV: the epoch; then for each counter the highest level at which its claim still
-- fits, the amount, and how many milliseconds a new counter lives. Returns the epoch that there is, and if it is that
-- one, which claim does not fit (1 is the first; 0 is none).
--
-- Numbers stay text: Lua's own are doubles, exact to 2^53, while Redis adds whole numbers of 64 bits.
local epoch = redis.call('GET', KEYS[1])
if epoch ~= ARGV[1] then
  return {epoch}
end

local function is_at_most(level, most)
  if #level ~= #most then
    return #level < #most
  end
  return level <= most
end

for i = 2, #KEYS do
  local most = ARGV[3 * i - 4]
  if most:sub(1, 1) == '-' or not is_at_most(redis.call('GET', KEYS[i]) or '0', most) then
    return {epoch, i - 1}
  end
end
for i = 2, #KEYS do
  local amount, ttl_ms = ARGV[3 * i - 3], ARGV[3 * i - 2]
  if not redis.call('SET', KEYS[i], amount, 'NX', 'PX', ttl_ms) then
    redis.call('INCRBY', KEYS[i], amount)
  end
end
return {epoch, 0}
