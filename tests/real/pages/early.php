<?php

// Answers at once, and then works on for a second: line by line, to be caught at it.

echo "early\n";
fastcgi_finish_request();

$file = fopen($_GET['file'], 'w');
for ($line = 0; $line < 10; $line++) {
    fwrite($file, "$line\n");
    usleep(100_000);
}
fwrite($file, "end\n");
