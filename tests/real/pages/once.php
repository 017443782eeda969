<?php

// Notes what it was sent, so that somebody can see later how often it was run for that.

$number = file_get_contents('php://input');
file_put_contents($_GET['list'], "$number\n", FILE_APPEND | LOCK_EX);
echo "noted $number\n";
