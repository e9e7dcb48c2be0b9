"""What Valkey works out over the lists of the index of dead letters, in Lua: one call for many lists.

Enters: keys of lists, and the bounds of members as ZRANGE BYLEX takes them. Leaves: numbers and members.
"""

COUNT = """
local found = 0
for _, key in ipairs(KEYS) do found = found + redis.call('ZLEXCOUNT', key, ARGV[1], ARGV[2]) end
return found
"""

# Of each list: how many members, the first and the last, within the bounds.
ENDS = """
local lower, upper, out = ARGV[1], ARGV[2], {}
for i, key in ipairs(KEYS) do
  local first = redis.call('ZRANGE', key, lower, upper, 'BYLEX', 'LIMIT', 0, 1)[1]
  if first then
    local last = redis.call('ZRANGE', key, upper, lower, 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
    out[i] = {redis.call('ZLEXCOUNT', key, lower, upper), first, last}
  else
    out[i] = {0, '', ''}
  end
end
return out
"""

# The newest members of several lists. Only the lists with the newest newest ones can give any.
NEWEST = """
local lower, upper, limit, heads = ARGV[1], ARGV[2], tonumber(ARGV[3]), {}
for _, key in ipairs(KEYS) do
  local last = redis.call('ZRANGE', key, upper, lower, 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
  if last then heads[#heads + 1] = {last, key} end
end
table.sort(heads, function(a, b) return a[1] > b[1] end)
local found = {}
for i = 1, math.min(#heads, limit) do
  local floor = heads[math.min(#heads, limit)][1]
  local from = #heads >= limit and '[' .. floor or lower
  for _, one in ipairs(redis.call('ZRANGE', heads[i][2], upper, from, 'BYLEX', 'REV', 'LIMIT', 0, limit)) do
    found[#found + 1] = one
  end
end
table.sort(found, function(a, b) return a > b end)
local out = {}
for i = 1, math.min(#found, limit) do out[i] = found[i] end
return out
"""
