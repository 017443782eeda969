<?php

// Answers at once, and then works on for a second. A signal would cut the sleep short.

echo "early\n";
fastcgi_finish_request();

$begun = hrtime(true);
usleep(1_000_000);
$slept = hrtime(true) - $begun;
file_put_contents($_GET['file'], 'slept for ' . ($slept < 1e9 ? "$slept ns" : 'a second') . "\n");
