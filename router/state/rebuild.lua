-- Begin an epoch with these counters, unless somebody has begun one.
--
-- KEYS: the mark, then the counters of the new epoch. ARGV: the new epoch, then for each counter its level, and how many
-- milliseconds it lives. Returns 1, or 0 where somebody was faster.
if not redis.call('SET', KEYS[1], ARGV[1], 'NX') then
  return 0
end
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[2 * i - 2], 'PX', ARGV[2 * i - 1])
end
return 1
