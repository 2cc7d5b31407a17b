-- Answers with the newest sequence that a stream gave. KEYS: stream.
return (ends(KEYS[1]))
