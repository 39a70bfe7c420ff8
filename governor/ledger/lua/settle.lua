#!lua flags=allow-oom
-- Post what was really used and close the hold; always recorded. Works on a hold it has never heard of.
-- KEYS and ARGV as in release.lua; reply as there.
return close('settle')
