-- What a statement leaves behind in its session, one row each, told from the column `query` of what stands before it.
-- Only this answer leaves the server. The text is looked at without its comments and string constants, and no further
-- than the first body in dollar quotes. UNLISTEN, RESET and DISCARD are no signs: drivers send them whenever a
-- connection goes back to their own pool. FETCH is one only outside a transaction, where no other cursor can be read.
LATERAL (
    SELECT DISTINCT what, lower(trim('"' FROM (found.captured)[1])) AS detail
    FROM (SELECT regexp_replace(regexp_replace(beginning,
              $re$\me'(\\.|''|[^'\\])*('|$)|'([^']|'')*('|$)|--[^\n]*|/\*([^*]|\*+[^*/])*(\*+/|$)$re$, '?', 'gi'),
              $re$\$([a-z_]\w*)?\$.*$re$, '?', 'i') AS statement
          FROM left(query, 4000) AS beginning
          -- Most statements are none of these, which one look tells.
          WHERE beginning ~* $re$^\s*(?:set|listen|create|declare|prepare|execute|deallocate|load|fetch|move|--|/\*)|;\s*[\w/-]|advisory_lock|set_config|into\s+\w*\s*temp$re$) AS stripped,
        (VALUES
            ('LISTEN', $re$(?:^|;)[\s?]*listen\s()$re$),
            ('advisory lock', $re$\mpg_(?:try_)?advisory_lock(?:_shared)?\s*\(()$re$),
            ('temporary table', $re$(?:^|;)[\s?]*create\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?temp(?:orary)?\s()(?![^;]*\son\s+commit\s+drop)$re$),
            ('temporary table', $re$\sinto\s+(?:(?:local|global)\s+)?temp(?:orary)?\s()$re$),
            ('WITH HOLD cursor', $re$(?:^|;)[\s?]*declare\s[^;]*\swith\s+hold\s()$re$),
            ('FETCH', $re$^[\s?]*(?:fetch|move)\s()$re$),
            ('SQL PREPARE', $re$(?:^|;)[\s?]*prepare\s+(?!transaction\s)()$re$),
            ('SQL PREPARE', $re$(?:^|;)[\s?]*execute\s()$re$),
            ('SQL PREPARE', $re$(?:^|;)[\s?]*deallocate\s+(?!(?:prepare\s+)?all\M)()$re$),
            ('SET', $re$(?:^|;)[\s?]*set\s+(?:session\s+)?(?!(?:local|transaction|constraints)\s)("?[a-z_][a-z0-9_.]*)$re$),
            ('SET', $re$\m(set_config)\s*\([^()]*,\s*false\s*\)$re$),
            ('LOAD', $re$(?:^|;)[\s?]*load\s()$re$)) AS features (what, pattern),
        LATERAL regexp_matches(stripped.statement, pattern, 'gi') AS found (captured)
) AS feature
