-- Change a note from what it was to what it becomes ('' is none), unless it is something else by now.
--
-- KEYS: the note; the names of all notes by when they were written; their sizes. ARGV: what it was, what it becomes, how
-- many milliseconds it lives, what all notes may take in bytes, what one takes besides its text. Returns what was there.
-- The oldest notes make room, and what is kept of those that have run out goes with them.
local note, names, sizes = KEYS[1], KEYS[2], KEYS[3]
local becomes, ttl_ms, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local there = redis.call('GET', note) or ''
if there ~= ARGV[1] then
  return there
end

local function drop(name)
  redis.call('DEL', name)
  redis.call('ZREM', names, name)
  local size = redis.call('HGET', sizes, name)
  if size then
    redis.call('HDEL', sizes, name)
    redis.call('HINCRBY', sizes, 'all', -size)
  end
end

drop(note)
if becomes == '' then
  return there
end

local size = #becomes + ARGV[5]
local now = redis.call('TIME')
redis.call('SET', note, becomes, 'PX', ttl_ms)
redis.call('ZADD', names, now[1] * 1000000 + now[2], note)
redis.call('HSET', sizes, note, size)
redis.call('HINCRBY', sizes, 'all', size)
for _, key in ipairs({names, sizes}) do
  if redis.call('PTTL', key) < ttl_ms then
    redis.call('PEXPIRE', key, ttl_ms)
  end
end

while true do
  local oldest = redis.call('ZRANGE', names, 0, 0)[1]
  local is_alive = redis.call('EXISTS', oldest) == 1
  if oldest == note or (is_alive and tonumber(redis.call('HGET', sizes, 'all')) <= most) then
    return there
  end
  drop(oldest)
end
